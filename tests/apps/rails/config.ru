# A small Rails app in one file, with the settings of a production environment.
require 'action_controller/railtie'

class Shop < Rails::Application
  config.root = __dir__
  config.secret_key_base = 'only-for-tests' * 8
  config.eager_load = false
  config.logger = Logger.new($stderr)
  config.hosts.clear
  config.session_store :cookie_store, key: '_shop_session'
  # doctor: here
end
Shop.initialize!

Shop.routes.draw do
  root to: 'shop#index'
  get '/login', to: 'shop#login'
  get '/account', to: 'shop#account', as: :account
end

class ShopController < ActionController::Base
  def index
    render html: %(<!doctype html><title>Shop</title><link rel="stylesheet" href="#{root_url}shop.css">
      <a href="/login">Sign in</a>).html_safe
  end

  def login
    session[:user] = 'ada'
    redirect_to account_url
  end

  def account
    render json: { address: request.remote_ip }
  end
end

run Shop
